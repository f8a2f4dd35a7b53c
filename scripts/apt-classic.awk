# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# in:  files in apt's one-line format (sources.list(5)); variable codename, the release's
# out: for each entry with the main component of that release: address, tab, options
{
    sub(/#.*/, "")
    options = ""
    if (match($0, /\[[^]]*\]/)) {
        options = substr($0, RSTART + 1, RLENGTH - 2)
        $0 = substr($0, 1, RSTART - 1) " " substr($0, RSTART + RLENGTH)
    }
}
$1 == "deb" && $3 == codename && $0 ~ /[ \t]main([ \t]|$)/ {
    kept = ""
    n = split(options, option, /[ \t]+/)
    for (i = 1; i <= n; i++)
        if (option[i] ~ /^(signed-by|trusted)=/)
            kept = kept (kept == "" ? "" : " ") option[i]
    print $2 "\t" kept
}
