# Completions of kiln for fish: kiln completions fish > ~/.config/fish/completions/kiln.fish
function __kiln_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    $program complete -- $words "$current" 2>/dev/null
end
complete -c kiln -f -a '(__kiln_complete)'
