"""TLS for devices that know nothing newer: versions 1.0 and 1.1, and a certificate that they can read.

Lives here: the context of a listener for devices, apart from all others.
Does not live here: everybody else's TLS, and the self-signed certificates (tls.py); which context a listener shows
(node/device_wiring.py).

RFC 8996 retires these versions, and rightly: what they carry may be readable to whoever taps the line. Between a
printer and the house on the same shelf they still keep a password out of the casual eye, and the alternative is none.
OpenSSL needs its security level at 0 for them; the level belongs to the context, so it ends here.
"""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

from glasspost.errors import ConfigurationError, Problem
from glasspost.net.tls import ServerContext, load_pair, why_not

# No anonymous key exchange and none without encryption: a device that knows only those may as well speak in the clear.
_CIPHERS = "DEFAULT:!aNULL:!eNULL:@SECLEVEL=0"


def old_server_context(certificate: Path, key: Path) -> ServerContext:
    """A context that takes TLS 1.0 to 1.3. Raises ConfigurationError where the files do not fit."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of old versions; here they are the point
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        load_pair(context, certificate, key)
    except OSError as error:
        raise ConfigurationError(
            [Problem(str(certificate), 0, "bridge.certificate", f"cannot be used: {why_not(error)}")]
        ) from None
    return context
