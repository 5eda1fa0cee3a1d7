// SPDX-License-Identifier: MIT
// Prints firings, for comparisons with other programs: timer-next COUNT AFTER ZONE SCHEDULE...
// One line a schedule: the firings as seconds since the epoch, or "refused: why".
#include "schedule.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
        for (int i = 4; i < argc; i++) {
                Schedule s = {0};
                Reason reason = {0};
                Firing f = {.utc = strtoll(argv[2], NULL, 10)};
                if (schedule_parse(&s, argv[i], NULL, argv[3], &reason) < 0) {
                        (void)printf("refused: %s\n", reason.text);
                        continue;
                }
                for (long n = strtol(argv[1], NULL, 10); n > 0 && schedule_next(&s, f.utc, &f); n--)
                        (void)printf("%lld ", (long long)f.utc);
                (void)puts("");
        }
        return argc > 4 ? EXIT_SUCCESS : EXIT_FAILURE;
}
