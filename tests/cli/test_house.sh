#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rules of the house, and proof that the checks of these rules can fail.
. "$(dirname "$0")/lib.sh"
cd "$SLIDEWISE_SOURCE" || exit 2

check "includes follow the order of the folders" tools/check-layers
check "no banned function is called" tools/check-bans
check "the library exports what the headers declare" tools/check-exports "$SLIDEWISE_BUILD/lib/libslidewise.so"

# The same checks on a tree with one fault each must fail and name it.
fault() { # NAME CHECK FILE LINE EXPECTED-TEXT
    rm -rf "$T/tree"
    mkdir "$T/tree"
    cp -r CMakeLists.txt src include cli "$T/tree"
    mkdir -p "$(dirname "$T/tree/$3")"
    echo "$4" >>"$T/tree/$3"
    if "tools/$2" "$T/tree" >"$T/out"; then
        echo "the check passed" >"$T/out"
        not_ok "$1" "$T/out"
    elif grep -qF "$5" "$T/out"; then
        ok "$1"
    else
        not_ok "$1" "$T/out"
    fi
}
fault "an include that points back is found" check-layers src/base/buf.c '#include "train/train.h"' \
    'src/base may not include "train/train.h": train comes after base in SW_FOLDERS'
fault "the library including cli/ is found" check-layers src/eval/x.c '#include "cli.h"' \
    'src/eval/x.c:1: the library may not include "cli.h"'
fault "a second owner of a library is found" check-layers src/eval/x.c '#include <jansson.h>' \
    '<jansson.h> is already named by'
fault "a third-party name in a header is found" check-layers include/slidewise/x.h '#include <tiffio.h>' \
    'a third-party header in a header of ours: tiffio.h'
fault "a public header that includes an internal one is found" check-layers include/slidewise/x.h '#include "base/mem.h"' \
    'a public header may include only public headers, not "base/mem.h"'
fault "a banned function is found" check-bans src/base/x.c 'void f(char *s) { strcpy(s, "x"); }' 'src/base/x.c:1:'
fault "printing in the library is found" check-bans src/base/x.c 'void f(void) { printf("x"); }' 'the library never prints'
fault "memory behind the back of base/mem.h is found" check-bans src/eval/x.c 'void *f(void) { return malloc(3); }' 'base/mem.h'

# Each header compiles alone; the public ones in C++ as well, and declare C linkage there.
cc=${CC:-cc}
flags=(-D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -Isrc)
alone() { # FILE COMPILER-ARGUMENTS
    local header=$1
    shift
    printf '#include "%s"\n' "$PWD/$header" >"$T/alone.${lang:-c}"
    "$@" "${flags[@]}" -fsyntax-only "$T/alone.${lang:-c}"
}
for header in include/slidewise/*.h; do
    check "$header alone" alone "$header" "$cc" -std=c11
done
for header in src/*/*.h src/*/*/*.h; do
    [[ $header == *_impl.h ]] && continue # a template, included several times into one file
    [ -e "$header" ] && ! alone "$header" "$cc" -std=c11 >>"$T/headers" 2>&1 && echo "$header" >>"$T/bad"
done
if [ -e "$T/bad" ]; then not_ok "internal headers alone" "$T/headers"; else ok "internal headers alone"; fi
if command -v c++ >/dev/null; then
    lang=cc
    for header in include/slidewise/*.h; do
        check "$header in C++" alone "$header" c++ -std=c++14
        if grep -q SW_API "$header"; then check "$header has C linkage in C++" grep -q 'extern "C"' "$header"; fi
    done
    lang=c
else
    skip "headers in C++" "there is no C++ compiler"
fi

# Numbers do not follow the locale of the host program.
test_error=$SLIDEWISE_BUILD/tests/test_base_error
if command -v localedef >/dev/null && localedef -i de_DE -f UTF-8 "$T/de_DE.UTF-8" >/dev/null 2>&1; then
    LOCPATH=$T "$test_error" numbers_ignore_the_locale_of_the_host >"$T/out" 2>&1
    if grep -q '^ok 1' "$T/out" && ! grep -q SKIP "$T/out"; then ok "numbers in a comma locale"; else not_ok "numbers in a comma locale" "$T/out"; fi
else
    skip "numbers in a comma locale" "no locale can be made here"
fi

# A full disk.
mkdir "$T/small"
if mount -t tmpfs -o size=1m none "$T/small" 2>/dev/null; then
    SLIDEWISE_FULL_DIR=$T/small "$SLIDEWISE_BUILD/tests/test_base_fs" a_full_disk_says_so >"$T/out" 2>&1
    umount "$T/small"
    if grep -q '^ok 1' "$T/out" && ! grep -q SKIP "$T/out"; then ok "a full disk is told"; else not_ok "a full disk is told" "$T/out"; fi
else
    skip "a full disk is told" "this user may not mount a small disk"
fi

# tools/deps: silent where all is there; a clear list where it cannot install.
run tools/deps
expect_status "tools/deps is content here" 0
check "and silent" test ! -s "$T/out" -a ! -s "$T/err"
mkdir "$T/bin"
for tool in bash awk cat id cc pkg-config cmake ninja make env; do
    path=$(command -v $tool) && ln -s "$path" "$T/bin/$tool"
done
rm -f "$T/bin/ninja"
run env PATH="$T/bin" bash tools/deps
expect_status "tools/deps fails where it cannot install" 1
check "and gives the command" grep -qE '^    (sudo )?apt-get install -y --no-install-recommends ninja-build$' "$T/err"
finish
