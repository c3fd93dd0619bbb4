# Trades this installation's token for the trust of the Salt master, and reports how far the installation is.
# HOST, SERVICE and, in DIR, what the answers have left there (token, secret, ca.crt) come from the lines in front.
#   report STEP PERCENT [FILE]   a step, and the last words of a file; an installation goes on where nobody hears it
#   exchange ROOT                makes the minion's key in the new system, and has the master accept it

set -u
umask 077
ENOUGH=150 # seconds; the service itself waits 120 for Salt

NEW_KEY='cd /etc/salt/pki/minion && openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -out minion.pem &&
    openssl pkey -in minion.pem -pubout -out minion.pub'

say() { echo "Saltern: $*" >&2; }

# Sends a file over TLS to the one service that this authority has signed for, and prints the answer.
post() {
    if command -v curl >/dev/null 2>&1; then
        curl -sS --fail --retry 5 --max-time "$ENOUGH" --cacert "$DIR/ca.crt" --data-binary "@$2" "$SERVICE/$1/$HOST"
    else
        wget -q -O - --timeout="$ENOUGH" --tries=5 --retry-on-http-error=502,503 --ca-certificate="$DIR/ca.crt" \
            --post-file="$2" "$SERVICE/$1/$HOST"
    fi
}

report() {
    {
        cat "$DIR/secret"
        echo "$1 $2"
        [ -z "${3-}" ] || cat "$3"
    } >"$DIR/report" 2>/dev/null
    post progress "$DIR/report" >/dev/null || say "the deploy host did not hear of: $1"
    rm -f "$DIR/report"
}

# What the firmware says, or an empty line.
serial() { cat /sys/class/dmi/id/product_serial 2>/dev/null || echo; }

exchange() {
    pki=$1/etc/salt/pki/minion
    mkdir -p "$pki"
    chmod 0700 "${pki%/*}" "$pki"
    if ! chroot "$1" sh -c "$NEW_KEY" 2>/dev/null; then
        say "no key could be made in $1"
        return 1
    fi
    {
        cat "$DIR/token"
        serial
        cat "$pki/minion.pub"
    } >"$DIR/exchange"
    if ! { post exchange "$DIR/exchange" >"$DIR/master.pub" && grep -q 'BEGIN PUBLIC KEY' "$DIR/master.pub"; }; then
        say "the deploy host refused the token; \`./saltern hosts\` there says why"
        return 1
    fi
    cat "$DIR/master.pub" >"$pki/minion_master.pub"
    rm -f "$DIR/exchange" "$DIR/token" "$DIR/master.pub"
}

"$@"
