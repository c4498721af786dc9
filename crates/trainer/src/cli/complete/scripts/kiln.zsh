#compdef kiln
# Completions of kiln for zsh: source <(kiln completions zsh), or a file _kiln in a folder of fpath.
_kiln() {
    local line value help
    local -a whole whole_shown open open_shown
    local -a before=("${(@Q)words[2,CURRENT-1]}")
    (( CURRENT > 2 )) || before=()
    for line in "${(@f)$(${(Q)~words[1]} complete -- "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        help=${line#*$'\t'}
        if [[ $value == *[/.=] ]]; then
            open+=("$value")
            open_shown+=("$value${help:+  -- $help}")
        else
            whole+=("$value")
            whole_shown+=("$value${help:+  -- $help}")
        fi
    done
    (( $#whole )) && compadd -l -d whole_shown -a whole
    (( $#open )) && compadd -l -S '' -d open_shown -a open
    return $(( $#whole + $#open == 0 ))
}
if [[ ${funcstack[1]} == _kiln ]]; then
    _kiln "$@"
else
    compdef _kiln kiln
fi
