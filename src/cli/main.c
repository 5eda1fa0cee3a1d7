// SPDX-License-Identifier: MIT
// belfry: the command. A client of the daemon's sockets and of nothing else; check, listen, sign and
// verify work without it.
#include "cli/command.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
        static Context c;
        bool done;
        (void)setlocale(LC_CTYPE, "");
        (void)signal(SIGPIPE, SIG_DFL); // `belfry tail | head` just ends
        ExitStatus r = arguments_parse(&c, argc, argv, &done);
        if (done)
                return r;
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        c.json = option_given(&c, "json");
        c.color = isatty(STDOUT_FILENO) && !option_given(&c, "no-color") &&
                  !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
        r = c.command->run(&c);
        if (fflush(stdout) != 0 || ferror(stdout)) {
                (void)fprintf(stderr, "belfry: cannot write the output\n");
                return r == STATUS_OK ? STATUS_FAILED : r;
        }
        return r;
}
