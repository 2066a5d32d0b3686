"""nmap's scripts for mail servers find nothing here: no open relay, no users told, no commands that tell."""

from __future__ import annotations

import shutil
import subprocess

from node_process import NodeProcess

from conftest import peer
