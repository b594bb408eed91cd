/* SPDX-License-Identifier: MIT
 *
 * rpm's scriptlets outside the root that rpm installs into, as openembedded-core's rpm runs them where
 * RPM_NO_CHROOT_FOR_SCRIPTS is set. rpm has changed its root when it starts one: the process goes back to where the
 * program began, with the PATH that it had, and the script's file is named from there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int outside = -1;
static const char *programs;

__attribute__((constructor)) static void remember(void)
{
    const char *path = getenv("PATH");

    outside = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    programs = path ? strdup(path) : NULL;
}

static const char *root_of_scriptlet(char *const argv[])
{
    if (!argv[0] || !argv[1] || !strstr(argv[1], "/rpm-tmp."))
        return NULL;
    return getenv("RPM_NO_CHROOT_FOR_SCRIPTS") ? getenv("D") : NULL;
}

int execv(const char *path, char *const argv[])
{
    int (*next)(const char *, char *const[]) = (int (*)(const char *, char *const[]))dlsym(RTLD_NEXT, "execv");
    const char *root = root_of_scriptlet(argv);
    static char script[PATH_MAX];
    char *words[3] = {argv[0], script, NULL};

    if (!root || fchdir(outside) || chroot("."))
        return next(path, argv);
    unsetenv("PSEUDO_CHROOT");
    if (programs)
        setenv("PATH", programs, 1);
    snprintf(script, sizeof script, "%s%s", root, argv[1]);
    return next(path, words);
}
