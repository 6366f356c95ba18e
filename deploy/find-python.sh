#!/bin/sh
# Prints the path of a Python that can make the virtual environment: the one given, else the first that fits.
# When there is none, says what to install.
set -u

fits='import sys; sys.exit(sys.version_info < (3, 11))'
makes_environments='import ensurepip, venv'
incomplete=''

for name in "${@:-python3.11}" python3.12 python3.13 python3.14 python3 python; do
    path=$(command -v "$name") || path=''
    if [ -n "$path" ] && "$path" -c "$fits" 2>/dev/null; then
        if "$path" -c "$makes_environments" 2>/dev/null; then
            "$path" -c 'import sys; print(sys.executable)'
            exit 0
        fi
        incomplete=${incomplete:-$path}
    fi
    if [ $# -gt 0 ]; then
        echo "PYTHON=$1 is not a Python 3.11 or newer with the modules venv and ensurepip." >&2
        exit 1
    fi
done

if [ -n "$incomplete" ]; then
    version=$("$incomplete" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$incomplete cannot make virtual environments: its modules venv or ensurepip are missing." >&2
    echo "On Debian and Ubuntu: apt-get install python$version-venv. Then try again." >&2
else
    echo "Overread needs Python 3.11 or newer, and none was found." >&2
    echo "Install one (Debian and Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3." >&2
fi
exit 1
