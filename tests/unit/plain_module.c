// SPDX-License-Identifier: MIT
// A module whose description is a constant, built without sanitizers so that it starts in no time:
// the test of failing allocations asks it a thousand times.
#include <stdio.h>
#include <string.h>

#include "build_id.h"

#define HEAD(kind)                                                                               \
        "{\"describe\":1,\"kind\":\"" kind "\",\"name\":\"plain\",\"version\":\"" BELFRY_VERSION \
        "\",\"build\":\"" BELFRY_BUILD "\",\"options\":["
#define ROW(name, type, more) "{\"name\":\"" name "\",\"type\":\"" type "\",\"flags\":[]" more "}"

int main(int argc, char **argv)
{
        const char *text =
                strstr(argv[0], "-sink-")
                        ? HEAD("sink")
                                  ROW("url", "url", "") "," ROW("headers", "string-map", "") "]}"
                        : HEAD("source") ROW("paths", "path-list", "") "," ROW("mode", "word",
                                  ",\"values\":[\"a\",\"b\"]") "],\"types\":[{\"name\":\"x.y\","
                                                               "\"fields\":[{\"name\":\"size\","
                                                               "\"type\":\"number\"}]}]}";
        return argc == 2 && puts(text) >= 0 && fflush(stdout) == 0 ? 0 : 1;
}
