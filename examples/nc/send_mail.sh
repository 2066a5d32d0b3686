#!/bin/sh
# Send mail with nothing but a shell and nc: for a router, a NAS, an alarm box. It says everything at once and waits
# for nothing, so it needs a listener that bears that: role device of glasspost (docs/devices.md).
#
#   sh send_mail.sh 192.0.2.1 2526 anna@example.org "Disk is full" <text
#
# Ends with 0 where the server said that the message is safe, else with 1; what was said goes to standard error.
# A dot at the beginning of a line is doubled, so that none can be taken for the end (RFC 5321 §4.5.2).

host=$1 port=$2 recipient=$3 subject=$4

said=$({
    printf 'MAIL FROM:<box@localhost>\r\nRCPT TO:<%s>\r\nDATA\r\n' "$recipient"
    printf 'Subject: %s\r\nTo: %s\r\n\r\n' "$subject" "$recipient"
    sed 's/^\./../; s/$/\r/'
    printf '.\r\nQUIT\r\n'
} | nc -w 30 "$host" "$port")

echo "$said" >&2
case $said in
*'Safe on disk'*) exit 0 ;;
*) exit 1 ;;
esac
