# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# in:  a file in apt's deb822 format (sources.list(5)); variable codename, the release's
# out: for each stanza with the main component of that release, one line an address: address,
#      tab, options. A key inside the stanza is not taken over, only a key file is.
function has(list, word) {
    return (" " list " ") ~ ("[ \t]" word "[ \t]")
}
function stanza(    n, i, uri, options) {
    if (has(field["types"], "deb") && has(field["suites"], codename) &&
        has(field["components"], "main") && field["enabled"] !~ /^(no|false|0|off)$/) {
        if (field["signed-by"] ~ /^\//)
            options = "signed-by=" field["signed-by"]
        if (field["trusted"] != "")
            options = options (options == "" ? "" : " ") "trusted=" field["trusted"]
        n = split(field["uris"], uri, /[ \t]+/)
        for (i = 1; i <= n; i++)
            print uri[i] "\t" options
    }
    split("", field)
    name = ""
}
/^#/ { next }
/^[ \t]*$/ { stanza(); next }
/^[ \t]/ {
    sub(/^[ \t]+/, "")
    field[name] = field[name] (field[name] == "" ? "" : " ") $0
    next
}
{
    name = tolower(substr($0, 1, index($0, ":") - 1))
    value = substr($0, index($0, ":") + 1)
    gsub(/^[ \t]+|[ \t]+$/, "", value)
    field[name] = value
}
END { stanza() }
