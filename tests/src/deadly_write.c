/* The write to one file that a process does not outlive: DEADLY_WRITE_TO is how the file's path ends, DEADLY_WRITE_TEXT
   what the write has in it, and DEADLY_WRITE_MOMENT whether the process is killed `before` or `after` it, or `before-next`
   or `after-next`: with the write that follows it. */
#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int seen;

static int is_to_the_file(int file) {
    const char *end = getenv("DEADLY_WRITE_TO");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    size_t wanted = end ? strlen(end) : 0;
    return wanted && length > (ssize_t)wanted && !memcmp(path + length - wanted, end, wanted);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    const char *moment = getenv("DEADLY_WRITE_MOMENT"), *text = getenv("DEADLY_WRITE_TEXT");
    int hit = 0;
    if (moment && text && is_to_the_file(file)) {
        int has_text = memmem(bytes, size, text, strlen(text)) != 0;
        hit = strstr(moment, "next") ? seen : has_text;
        seen |= has_text;
    }
    if (hit && !strncmp(moment, "before", 6)) kill(getpid(), SIGKILL);
    ssize_t written = syscall(SYS_pwrite64, file, bytes, size, at);
    if (hit) kill(getpid(), SIGKILL);
    return written;
}
