/* Asks before every change below a folder. Preloaded into a command, it tells the harness (cutting.py) what is about
 * to happen, and does what that answers; a kill comes from there, too, while the operation waits.
 *
 * Environment: CUTS_SOCKET, a SOCK_SEQPACKET socket; CUTS_ROOT, the folder. A question is "what\npath\nother path";
 * an answer is an int: 0 to go on, an errno to fail with, HALF to write half of it and ask again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define HALF (-1)
#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
// A file that never gets a name is nothing that a crash leaves.
#define NAMELESS(flags) (((flags) & O_TMPFILE) == O_TMPFILE)
#define CHANGES(flags) (!NAMELESS(flags) && (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC))))
#define SAME_AS(name) __attribute__((alias(#name)))

static const char *root, *address;
static int line = -1;
static pid_t owner;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* Also called by a process that was forked and has an environment of its own since then. */
__attribute__((constructor)) void cuts_begin(void) {
    pthread_mutex_init(&one_at_a_time, NULL);
    root = getenv("CUTS_ROOT");
    address = getenv("CUTS_SOCKET");
}

/* The absolute path, if it lies below the root. */
static const char *below(char *out, int folder, const char *path) {
    char base[PATH_MAX / 2], link[64];
    if (!root || !path) return NULL;
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
    } else {
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n < 0) return NULL;
        base[n] = 0;
        snprintf(out, PATH_MAX, "%s%s%s", base, path[0] ? "/" : "", path);
    }
    size_t n = strlen(root);
    return !strncmp(out, root, n) && (out[n] == '/' || !out[n]) ? out : NULL;
}

static int ask(const char *what, const char *path, const char *other) {
    char question[2 * PATH_MAX + 64];
    int answer = 0, kept = errno;
    pthread_mutex_lock(&one_at_a_time);
    if (owner != getpid()) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s", address);
        line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (line < 0 || connect(line, (struct sockaddr *)&at, sizeof at)) abort();
        owner = getpid();
    }
    int n = snprintf(question, sizeof question, "%s\n%s\n%s", what, path, other ? other : "");
    if (send(line, question, n, MSG_NOSIGNAL) != n || recv(line, &answer, sizeof answer, 0) != sizeof answer) abort();
    pthread_mutex_unlock(&one_at_a_time);
    errno = answer > 0 ? answer : kept;
    return answer;
}

static int ask_path(const char *what, int folder, const char *path) {
    char place[PATH_MAX];
    return below(place, folder, path) ? ask(what, place, NULL) : 0;
}

static int ask_two(const char *what, int folder, const char *path, int other_folder, const char *other) {
    char place[PATH_MAX], other_place[PATH_MAX];
    const char *from = below(place, folder, path), *to = below(other_place, other_folder, other);
    return from || to ? ask(what, from ? from : path, to ? to : other) : 0;
}

static int ask_file(const char *what, int file) { return ask_path(what, file, ""); }

#define OPENING(name, flags, folder, path, call) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    REAL(name); \
    if (CHANGES(flags) && ask_path("open", folder, path) > 0) return -1; \
    return call

int open(const char *path, int flags, ...) { OPENING(open, flags, AT_FDCWD, path, real(path, flags, mode)); }
int open64(const char *path, int flags, ...) { OPENING(open64, flags, AT_FDCWD, path, real(path, flags, mode)); }
int openat(int folder, const char *path, int flags, ...) { OPENING(openat, flags, folder, path, real(folder, path, flags, mode)); }
int openat64(int folder, const char *path, int flags, ...) { OPENING(openat64, flags, folder, path, real(folder, path, flags, mode)); }
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

FILE *fopen(const char *path, const char *mode) {
    REAL(fopen);
    return strpbrk(mode, "wa+") && ask_path("open", AT_FDCWD, path) > 0 ? NULL : real(path, mode);
}
FILE *fopen64(const char *path, const char *mode) {
    REAL(fopen64);
    return strpbrk(mode, "wa+") && ask_path("open", AT_FDCWD, path) > 0 ? NULL : real(path, mode);
}

ssize_t write(int file, const void *data, size_t n) {
    REAL(write);
    int answer = ask_file("write", file);
    if (answer == HALF) { real(file, data, n / 2); answer = ask_file("half", file); }
    return answer > 0 ? -1 : real(file, data, n);
}
ssize_t pwrite(int file, const void *data, size_t n, off_t at) {
    REAL(pwrite);
    int answer = ask_file("write", file);
    if (answer == HALF) { real(file, data, n / 2, at); answer = ask_file("half", file); }
    return answer > 0 ? -1 : real(file, data, n, at);
}
ssize_t pwrite64(int file, const void *data, size_t n, off64_t at) SAME_AS(pwrite);
ssize_t writev(int file, const struct iovec *parts, int n) {
    REAL(writev);
    int answer = ask_file("write", file);
    if (answer == HALF) { real(file, parts, n > 1 ? n / 2 : 0); answer = ask_file("half", file); }
    return answer > 0 ? -1 : real(file, parts, n);
}
ssize_t pwritev(int file, const struct iovec *parts, int n, off_t at) {
    REAL(pwritev);
    return ask_file("write", file) > 0 ? -1 : real(file, parts, n, at);
}
ssize_t pwritev64(int file, const struct iovec *parts, int n, off64_t at) SAME_AS(pwritev);
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags) {
    REAL(copy_file_range);
    return ask_file("write", out) > 0 ? -1 : real(in, in_at, out, out_at, n, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t n) {
    REAL(sendfile);
    return ask_file("write", out) > 0 ? -1 : real(out, in, at, n);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) SAME_AS(sendfile);
int ftruncate(int file, off_t n) { REAL(ftruncate); return ask_file("truncate", file) > 0 ? -1 : real(file, n); }
int ftruncate64(int file, off64_t n) SAME_AS(ftruncate);
int posix_fallocate(int file, off_t at, off_t n) {
    REAL(posix_fallocate);
    int answer = ask_file("truncate", file);
    return answer > 0 ? answer : real(file, at, n);
}
int fallocate(int file, int mode, off_t at, off_t n) {
    REAL(fallocate);
    return ask_file("truncate", file) > 0 ? -1 : real(file, mode, at, n);
}
int fsync(int file) { REAL(fsync); return ask_file("fsync", file) > 0 ? -1 : real(file); }
int fdatasync(int file) { REAL(fdatasync); return ask_file("fsync", file) > 0 ? -1 : real(file); }

int rename(const char *path, const char *other) {
    REAL(rename);
    return ask_two("rename", AT_FDCWD, path, AT_FDCWD, other) > 0 ? -1 : real(path, other);
}
int renameat(int folder, const char *path, int other_folder, const char *other) {
    REAL(renameat);
    return ask_two("rename", folder, path, other_folder, other) > 0 ? -1 : real(folder, path, other_folder, other);
}
int renameat2(int folder, const char *path, int other_folder, const char *other, unsigned flags) {
    REAL(renameat2);
    return ask_two("rename", folder, path, other_folder, other) > 0 ? -1 : real(folder, path, other_folder, other, flags);
}
int link(const char *path, const char *other) {
    REAL(link);
    return ask_two("link", AT_FDCWD, path, AT_FDCWD, other) > 0 ? -1 : real(path, other);
}
int linkat(int folder, const char *path, int other_folder, const char *other, int flags) {
    REAL(linkat);
    return ask_two("link", folder, path, other_folder, other) > 0 ? -1 : real(folder, path, other_folder, other, flags);
}
int symlink(const char *path, const char *other) {
    REAL(symlink);
    return ask_path("link", AT_FDCWD, other) > 0 ? -1 : real(path, other);
}
int unlink(const char *path) { REAL(unlink); return ask_path("unlink", AT_FDCWD, path) > 0 ? -1 : real(path); }
int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return ask_path("unlink", folder, path) > 0 ? -1 : real(folder, path, flags);
}
int remove(const char *path) { REAL(remove); return ask_path("unlink", AT_FDCWD, path) > 0 ? -1 : real(path); }
int rmdir(const char *path) { REAL(rmdir); return ask_path("unlink", AT_FDCWD, path) > 0 ? -1 : real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return ask_path("mkdir", AT_FDCWD, path) > 0 ? -1 : real(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    return ask_path("mkdir", folder, path) > 0 ? -1 : real(folder, path, mode);
}
int truncate(const char *path, off_t n) { REAL(truncate); return ask_path("truncate", AT_FDCWD, path) > 0 ? -1 : real(path, n); }
