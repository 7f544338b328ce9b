function _batchswap_completion
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l name (string match -r -- '^--[a-z-]+=' "$current"; or echo "")
    for line in (env _BATCHSWAP_COMPLETE=fish_complete $program $words[2..] "$current" 2>/dev/null)
        switch $line
            case '+*'
                echo -- "$name"(string sub -s 2 -- $line)
            case file
                for path in (__fish_complete_path (string replace -- "$name" "" "$current"))
                    echo -- "$name$path"
                end
            case dir
                for path in (__fish_complete_directories (string replace -- "$name" "" "$current") "")
                    echo -- "$name$path"
                end
        end
    end
end

complete --no-files --keep-order --command batchswap --arguments "(_batchswap_completion)"
