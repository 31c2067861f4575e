# shellcheck shell=bash
# How every script here speaks: one line when a step begins, one when something is noteworthy, and
# errors that say how to mend them. Sourced, never run.
#
# Progress goes to standard error, so that a script's standard output can be used by another.
# Colour only on a terminal, and never when NO_COLOR is set (https://no-color.org).

if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    _bold=$'\e[1m' _dim=$'\e[2m' _red=$'\e[31m' _green=$'\e[32m' _plain=$'\e[0m'
else
    _bold='' _dim='' _red='' _green='' _plain=''
fi

# step TEXT: a part of the work begins.
step() { printf '%s==>%s %s%s%s\n' "$_green" "$_plain" "$_bold" "$*" "$_plain" >&2; }

# note TEXT: something worth knowing within a step.
note() { printf '    %s%s%s\n' "$_dim" "$*" "$_plain" >&2; }

# fail WHAT [HOW TO MEND IT]: ends the script with status 1.
fail() {
    printf '%serror:%s %s\n' "$_red" "$_plain" "$1" >&2
    if [[ -n ${2:-} ]]; then printf '  %smend:%s %s\n' "$_bold" "$_plain" "$2" >&2; fi
    exit 1
}

# quietly LOG COMMAND…: runs a command with its output in LOG, and shows the end of that only if it fails.
quietly() {
    local log=$1 status=0
    shift
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if ((status != 0)); then
        tail -n 30 "$log" | cut -c1-240 | sed 's/^/    | /' >&2
    fi
    return "$status"
}
