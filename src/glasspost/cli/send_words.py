"""What `glasspost send` says itself, in English and Chinese, side by side.

Lives here: the words. A reply of a server is explained by explain/, except where the moment tells more than the code:
250 after RCPT means that this recipient is accepted, and nothing else.
Does not live here: when they are said (send_report.py, send_view.py).
"""

from __future__ import annotations

_WORDS: dict[str, tuple[str, str]] = {
    # what a good answer means, by the step it answers
    "greeting": ("It is ready to talk.", "服务器已就绪。"),
    "ehlo": ("It greets back, and offers {offers}.", "服务器作出回应，并提供：{offers}。"),
    "ehlo-bare": ("It greets back, and offers no extensions.", "服务器作出回应，不提供任何扩展功能。"),
    "offers-and": ("{some} and {last}", "{some}、{last}"),
    "offers-comma": (", ", "、"),
    "offers-size": ("room for {size} MB", "最大 {size} MB 的邮件"),
    "offers-starttls": ("TLS", "TLS 加密"),
    "offers-auth": ("sign-in by {names}", "{names} 登录"),
    "offers-pipelining": ("commands in groups", "命令成组发送"),
    "offers-8bitmime": ("8-bit text", "8 位文本"),
    "offers-smtputf8": ("international addresses", "国际化邮件地址"),
    "offers-dsn": ("delivery reports", "投递报告"),
    "offers-chunking": ("messages in pieces", "分块传送"),
    "offers-other": ("{count} more", "另外 {count} 项"),
    "as-above": ("The same as above.", "同上。"),
    "starttls": ("TLS begins now.", "现在开始 TLS 加密。"),
    "auth-more": ("Sign-in goes on.", "登录仍在进行。"),
    "auth": ("We are signed in.", "登录成功。"),
    "rset": ("The transaction before is forgotten.", "之前的事务已作废。"),
    "mail": ("It takes mail from this sender.", "服务器接受这个发件人。"),
    "rcpt": ("It takes mail for {who}.", "服务器接受收件人 {who}。"),
    "data": ("It waits for the message.", "服务器在等待邮件内容。"),
    "chunk": ("It has this piece.", "服务器收到了这一段。"),
    "content": ("It has the message, and is responsible for it from now on.", "服务器收下了邮件，从现在起由它负责。"),
    "content-lmtp": ("It has delivered to one recipient.", "服务器已为一个收件人完成投递。"),
    "quit": ("It says goodbye.", "服务器道别并关闭连接。"),
    "lone-dot": ("It takes note that there was no message.", "服务器知道没有邮件内容。"),
    # what happened without a reply
    "calling": ("Calling {server}", "正在连接 {server}"),
    "connected": ("connected to {server}", "已连接 {server}"),
    "connected-from": ("connected to {server}, from {ours}", "已连接 {server}，本机端 {ours}"),
    "sent": ("message sent: {octets} octets in {took}", "邮件内容已发出：{octets} 字节，用时 {took}"),
    "sending": ("sending", "正在发送"),
    "closed": ("connection closed", "连接已关闭"),
    "tls": ("{version}, {cipher}", "{version}，{cipher}"),
    "certificate": (
        "certificate of {subject}, issued by {issuer}, good until {ends}{left}",
        "证书：{subject}，签发者 {issuer}，有效期至 {ends}{left}",
    ),
    "days-left": (" ({days} days)", "（还有 {days} 天）"),
    "certificate-names": ("for the names {names}", "适用的名称：{names}"),
    "verified": (
        "verified: a known authority vouches for this name, and it has not expired",
        "已验证：由可信机构为此名称签发，并在有效期内",
    ),
    "not-verified": ("NOT verified: {fault}", "未通过验证：{fault}"),
    "expired": ("it expired on {day}", "证书已于 {day} 过期"),
    "not-yet": ("it is valid only from {day} on", "证书从 {day} 起才有效"),
    "other-name": ("it is not for {name}, but for {names}", "证书不是给 {name} 的，而是给 {names} 的"),
    "self-signed": ("it is self-signed", "证书是自签名的"),
    "unknown-issuer": ("its issuer is not known here: {issuer}", "不认识它的签发者：{issuer}"),
    "no-certificate": ("it shows no certificate", "没有出示证书"),
    "nobody": ("nobody", "任何人都不适用"),
    # what stood in the way, where no server said anything, and what to do
    "name": ("No server is known for this name.", "找不到这个名称对应的服务器。"),
    "name-next": (
        "Check the name for typing errors; look at its MX and address records.",
        "请检查名称是否有误，并查看它的 MX 与地址记录。",
    ),
    "connect": ("No connection: {fault}.", "无法建立连接：{fault}。"),
    "connect-next": (
        "Check host and port, whether the server runs, and whether a firewall stands between.",
        "请检查主机名和端口、服务器是否在运行，以及中间是否有防火墙。",
    ),
    "tls-fault": ("TLS did not come about: {fault}.", "TLS 未能建立：{fault}。"),
    "tls-next": (
        "Nothing of the message was said. Check that the port is right for this kind of TLS.",
        "邮件内容尚未发出。请检查端口与这种 TLS 方式是否相符。",
    ),
    "tls-hint": (
        "Here: --ca FILE believes an authority of your own, --tls-name NAME expects another name, --no-verify looks at"
        " the certificate without demanding proof.",
        "本命令的选项：--ca FILE 信任自有机构，--tls-name NAME 指定证书上的名称，--no-verify 只查看证书而不要求证明。",
    ),
    "no-tls": ("It offers no TLS.", "服务器不提供 TLS。"),
    "no-tls-next": (
        "Ask for TLS from the first octet (--tls implicit, port 465), or go without (--tls none).",
        "请改用一开始就加密的方式（--tls implicit，端口 465），或不加密（--tls none）。",
    ),
    "auth-fault": ("We cannot sign in: {fault}.", "无法登录：{fault}。"),
    "auth-next": (
        "Use TLS, and the port for submission: 587, or 465 with --tls implicit.",
        "请使用 TLS 和提交端口：587，或用 --tls implicit 连接 465。",
    ),
    "impossible": ("This server cannot take this message: {fault}.", "这台服务器无法接收这封邮件：{fault}。"),
    "impossible-next": (
        "Send it in another form: without --8bit or --utf8, to an ASCII address, or smaller.",
        "请换一种形式：不用 --8bit 或 --utf8、改用 ASCII 地址，或缩小邮件。",
    ),
    "broken": ("The conversation broke off: {fault}.", "会话中断：{fault}。"),
    "broken-next": (
        "Try again. If it stays so, the server's log says more.",
        "请再试一次；若仍如此，请查看服务器日志。",
    ),
    "doubt": (
        "The whole message was sent, and the answer was lost: it may have arrived.",
        "整封邮件已发出，但没有收到答复：它可能已经送达。",
    ),
    "doubt-next": (
        "Look in the mailbox before sending it again, or it may arrive twice.",
        "再次发送之前请先查看邮箱，否则可能会收到两封。",
    ),
    # the end
    "verdicts": ("Verdict", "结论"),
    "accepted": ("accepted", "已接收"),
    "refused": ("refused", "已拒绝"),
    "not-now": ("not now", "暂不接收"),
    "in-doubt": ("in doubt", "结果不明"),
    "asked": ("willing", "愿意接收"),
    "stopped": ("not sent", "未发送"),
    "asked-only": ("asked as far as {phase}; no message was sent", "只试到“{phase}”为止，没有发送邮件"),
    "by": ("by {server}", "服务器 {server}"),
    "who": ("Who acts: ", "由谁处理："),
    "next": ("Next: ", "下一步："),
    "retry": ("Again: ", "重试："),
    "sum-ok": ("{count} accepted, in {took}.", "{count} 个收件人已接收，用时 {took}。"),
    "sum-asked": ("As far as was asked, nothing was refused, in {took}.", "问到之处均未遭拒绝，用时 {took}。"),
    "sum-some": (
        "{refused} of {count} not accepted, in {took}. Exit code {code}.",
        "{count} 个收件人中有 {refused} 个未被接收，用时 {took}。退出码 {code}。",
    ),
    "sum-none": (
        "Nobody accepted: it ended at {phase}, in {took}. Exit code {code}.",
        "没有收件人被接收：止于“{phase}”，用时 {took}。退出码 {code}。",
    ),
    # phases
    "phase-name": ("the name", "查找名称"),
    "phase-connect": ("the connection", "建立连接"),
    "phase-greeting": ("the greeting", "欢迎语"),
    "phase-hello": ("EHLO", "EHLO"),
    "phase-tls": ("TLS", "TLS"),
    "phase-auth": ("sign-in", "登录"),
    "phase-mail": ("MAIL", "MAIL"),
    "phase-rcpt": ("RCPT", "RCPT"),
    "phase-data": ("DATA", "DATA"),
    "phase-content": ("the message", "邮件内容"),
}


def say(key: str, lang: str, **parts: object) -> str:
    """The words of this name, in English or Chinese, with their places filled in."""
    english, chinese = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**parts)


def seconds(took: float) -> str:
    """A span as people read it, in at most seven columns: 0.4 ms, 12 ms, 1.2 s, 75 s."""
    if took < 0.00995:
        return f"{took * 1000:.1f} ms"
    if took < 0.9995:
        return f"{took * 1000:.0f} ms"
    return f"{took:.1f} s" if took < 9.95 else f"{took:.0f} s"
