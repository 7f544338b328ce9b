_batchswap_completion() {
    local line program=${1/#\~\//$HOME/}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            +*) COMPREPLY+=("${line#+}") ;;
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
        esac
    done < <(
        export _BATCHSWAP_COMPLETE=bash_complete
        "$program" "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null
    )
}

complete -o nosort -F _batchswap_completion batchswap
