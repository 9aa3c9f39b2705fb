#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make install` gives: it is installed into a fresh prefix, and a small program is built against it.
. "$(dirname "$0")/lib.sh"

prefix=$T/prefix
run cmake --install "$SLIDEWISE_BUILD" --prefix "$prefix"
expect_status "cmake --install" 0
libdir=$(dirname "$(find "$prefix" -name libslidewise.so | head -1)")
for file in bin/slidewise include/slidewise/error.h share/man/man1/slidewise.1 share/bash-completion/completions/slidewise \
    share/zsh/site-functions/_slidewise share/fish/vendor_completions.d/slidewise.fish; do
    check "$file" test -s "$prefix/$file"
done
check "the static library" test -s "$libdir/libslidewise.a"
soname=$(readelf -d "$libdir/libslidewise.so" | sed -n 's/.*Library soname: \[\(.*\)\]/\1/p')
if [[ $soname =~ ^libslidewise\.so\.[0-9]+$ ]] && [ -e "$libdir/$soname" ]; then ok "the soname $soname"; else not_ok "the soname ($soname)"; fi
run "$prefix/bin/slidewise" --version
expect_status "the installed program runs" 0
version=$(sed 's/.* //' "$T/out")

export PKG_CONFIG_PATH=$libdir/pkgconfig
check "pkg-config knows the version" test "$(pkg-config --modversion slidewise)" = "$version"
cat >"$T/use.c" <<'END'
#include <slidewise/error.h>
#include <stdio.h>

int main(void)
{
    sw_error err;
    sw_status status = sw_error_set(&err, SW_E_NOT_FOUND, "no slide %d", 7);
    status = sw_error_prefix(&err, "test") == status ? status : SW_E_INTERNAL;
    printf("%s: %s\n", sw_status_name(status), err.message);
    return status == SW_E_NOT_FOUND ? 0 : 1;
}
END
# With sanitizers the library needs their run-time as well.
read -ra sanitizers <<<"$(grep -m1 '^CMAKE_C_FLAGS:' "$SLIDEWISE_BUILD/CMakeCache.txt" | grep -oE -- '-fsanitize=[a-z,]+')"
read -ra flags <<<"$(pkg-config --cflags --libs slidewise)"
run "${CC:-cc}" -std=c11 -Wall -Wextra -Werror "${sanitizers[@]}" "$T/use.c" -o "$T/use" "${flags[@]}"
expect_status "a program builds with pkg-config's flags" 0
run env LD_LIBRARY_PATH="$libdir" "$T/use"
expect_status "and runs" 0
expect_stdout "and gets the library's answer" "not found: test: no slide 7"
mv "$prefix" "$T/moved"
export PKG_CONFIG_PATH=${PKG_CONFIG_PATH/$prefix/$T/moved}
if pkg-config --cflags slidewise | grep -qF "$T/moved/"; then ok "the installation can be moved"; else not_ok "the installation can be moved"; fi
finish
