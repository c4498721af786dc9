# Completions of kiln for bash: source <(kiln completions bash)
_kiln() {
    local line=${COMP_LINE:0:COMP_POINT} program=${COMP_WORDS[0]/#\~/$HOME}
    local word=${line##*[[:space:]]}
    local breaks=${COMP_WORDBREAKS//[!=:]/} cut= open= value help
    # Readline replaces only what stands behind the last of its breaks, as in --set optim.lr=1.
    if [[ -n $breaks && $word == *[$breaks]* ]]; then
        cut=${word%"${word##*[$breaks]}"}
    fi
    COMPREPLY=()
    while IFS=$'\t' read -r value help; do
        [[ -n $value ]] || continue
        [[ $value == *[/.=] ]] && open=1
        value=${value#"$cut"}
        [[ $value == *[[:space:]]* && $word != [\'\"]* ]] && printf -v value %q "$value"
        COMPREPLY+=("$value")
    done < <("$program" complete --line="$line" 2>/dev/null)
    if [[ -n $open ]] && type compopt &>/dev/null; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -F _kiln kiln
