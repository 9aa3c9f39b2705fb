/* SPDX-License-Identifier: Apache-2.0 */
/* How long the compute threads look for work before they sleep, which OpenMP's runtime reads from the environment when it is
 * loaded, before main. */
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"

enum { PATH_ROOM = 4096 };

/* GNU's runtime looks 300 000 times (milliseconds) where it is told nothing, and where the system gives one of the CPUs to
 * another program meanwhile, the other threads of a convolution burn theirs until that one is back: with every CPU shared by
 * another program training went at a fifth of its speed. 1000 is what the runtime itself takes where it knows of more
 * threads than CPUs; training on an idle machine shows no difference, single short operations after a
 * pause take up to twice as long. */
#define LOOKS "1000"

void cli_wait_briefly(char **argv)
{
    static const char *const told[] = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (getenv(told[i])) return; /* the user's, or ours the second time */
    }
    char path[PATH_ROOM];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0 || size == (ssize_t)sizeof path - 1) return; /* only slower where CPUs are shared */
    path[size] = '\0';
    if (setenv(told[0], LOOKS, 0) == 0) execv(path, argv);
}
