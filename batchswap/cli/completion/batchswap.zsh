#compdef batchswap

_batchswap_completion() {
    local -a plain described before lines
    local line program=${(Q)words[1]} file=""
    before=("${(@Q)words[1,CURRENT-1]}")
    lines=("${(@f)$(
        export _BATCHSWAP_COMPLETE=zsh_complete
        "${program/#\~\//$HOME/}" "${(@)before[2,-1]}" "${(Q)PREFIX}" 2>/dev/null
    )}")
    for line in "${lines[@]}"; do
        case $line in
            +*$'\t'*) line=${line#+}; described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            +*) plain+=("${line#+}") ;;
            file) file="-f" ;;
            dir) file="-/" ;;
        esac
    done
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    (( $#described )) && _describe -V values described
    (( $#plain )) && compadd -V values -a plain
    [[ -n $file ]] && _files ${file:#-f}
    return 0
}

# As a file _batchswap in a folder of $fpath, this text is the body of a function of that name.
if [[ $funcstack[1] == _batchswap ]]; then
    _batchswap_completion "$@"
else
    compdef _batchswap_completion batchswap
fi
