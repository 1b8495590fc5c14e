/* Counts the write operations of a program below a folder, and lets the n-th one fail or kill the process.
 *
 * Loaded with LD_PRELOAD. A counter in a shared file numbers the operations of all processes of a run.
 *   WRITE_FAULTS_ROOT     folder: operations on paths below it count
 *   WRITE_FAULTS_COUNTER  file of one 8-byte number, mapped by all processes
 *   WRITE_FAULTS_AT       number of the operation that fails; 0 for none
 *   WRITE_FAULTS_HOW      "kill"; "eio": this one alone; "full": this one and all that need room after it
 *   WRITE_FAULTS_LOG      file that gets a line for each operation; may be absent
 * Programs that fork may change these after the fork: they are read at each operation.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static unsigned long *counter;
static char counted_in[4096];

static unsigned long *shared(void) {
    const char *path = getenv("WRITE_FAULTS_COUNTER");
    if (!path) return NULL;
    if (counter && !strcmp(path, counted_in)) return counter;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    void *found = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(close)(fd);
    if (found == MAP_FAILED) return NULL;
    snprintf(counted_in, sizeof counted_in, "%s", path);
    return counter = found;
}

/* The absolute path that a call means; "" where there is none. */
static const char *absolute(int folder, const char *path, char *out, size_t size) {
    char base[4096] = "", link[64];
    if (path && path[0] == '/') return path;
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return "";
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return "";
        base[length] = 0;
    }
    snprintf(out, size, "%s%s%s", base, path ? "/" : "", path ? path : "");
    return out;
}

/* Counts an operation; the error that it is to end with, or 0. */
static int fault(const char *what, int folder, const char *path, int needs_room) {
    char text[8300];
    const char *root = getenv("WRITE_FAULTS_ROOT"), *at = getenv("WRITE_FAULTS_AT"), *how = getenv("WRITE_FAULTS_HOW");
    if (!root) return 0;
    int before = errno;
    const char *whole = absolute(folder, path, text, sizeof text);
    unsigned long *number = strncmp(whole, root, strlen(root)) ? NULL : shared();
    errno = before;
    if (!number) return 0;
    unsigned long mine = __sync_add_and_fetch(number, 1), fatal = at ? strtoul(at, NULL, 10) : 0;
    const char *log = getenv("WRITE_FAULTS_LOG");
    if (log) {
        char line[8500];
        int fd = REAL(open)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        int length = snprintf(line, sizeof line, "%lu %d %s %s\n", mine, getpid(), what, whole + strlen(root));
        if (fd >= 0) { if (REAL(write)(fd, line, length) < 0) errno = before; REAL(close)(fd); }
        errno = before;
    }
    if (!fatal || !how) return 0;
    if (mine == fatal && !strcmp(how, "kill")) kill(getpid(), SIGKILL);
    if (mine == fatal && !strcmp(how, "eio")) return EIO;
    if (mine >= fatal && !strcmp(how, "full") && needs_room) return ENOSPC;
    return 0;
}

#define FAIL(what, folder, path, room, failed) \
    do { int error = fault(what, folder, path, room); if (error) { errno = error; return failed; } } while (0)

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0; va_end(more); \
        if (writes(flags)) FAIL("open", AT_FDCWD, path, (flags & O_CREAT) != 0, -1); \
        return REAL(name)(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0; va_end(more); \
        if (writes(flags)) FAIL("open", folder, path, (flags & O_CREAT) != 0, -1); \
        return REAL(name)(folder, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)
#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        if (strpbrk(mode, "wa+")) FAIL("open", AT_FDCWD, path, 1, NULL); \
        return REAL(name)(path, mode); }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int fd, const void *from, size_t size) { FAIL("write", fd, NULL, 1, -1); return REAL(write)(fd, from, size); }
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { FAIL("write", fd, NULL, 1, -1); return REAL(pwrite)(fd, from, size, at); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) { FAIL("write", fd, NULL, 1, -1); return REAL(pwrite64)(fd, from, size, at); }
ssize_t writev(int fd, const struct iovec *from, int parts) { FAIL("write", fd, NULL, 1, -1); return REAL(writev)(fd, from, parts); }
int ftruncate(int fd, off_t size) { FAIL("truncate", fd, NULL, 1, -1); return REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { FAIL("truncate", fd, NULL, 1, -1); return REAL(ftruncate64)(fd, size); }
int fsync(int fd) { FAIL("fsync", fd, NULL, 0, -1); return REAL(fsync)(fd); }
int fdatasync(int fd) { FAIL("fsync", fd, NULL, 0, -1); return REAL(fdatasync)(fd); }
int mkdir(const char *path, mode_t mode) { FAIL("mkdir", AT_FDCWD, path, 1, -1); return REAL(mkdir)(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { FAIL("mkdir", folder, path, 1, -1); return REAL(mkdirat)(folder, path, mode); }
int unlink(const char *path) { FAIL("unlink", AT_FDCWD, path, 0, -1); return REAL(unlink)(path); }
int unlinkat(int folder, const char *path, int flags) { FAIL("unlink", folder, path, 0, -1); return REAL(unlinkat)(folder, path, flags); }
int rmdir(const char *path) { FAIL("rmdir", AT_FDCWD, path, 0, -1); return REAL(rmdir)(path); }
int rename(const char *from, const char *to) { FAIL("rename", AT_FDCWD, to, 1, -1); return REAL(rename)(from, to); }
int renameat(int at, const char *from, int folder, const char *to) { FAIL("rename", folder, to, 1, -1); return REAL(renameat)(at, from, folder, to); }
int link(const char *from, const char *to) { FAIL("link", AT_FDCWD, to, 1, -1); return REAL(link)(from, to); }
int linkat(int at, const char *from, int folder, const char *to, int flags) { FAIL("link", folder, to, 1, -1); return REAL(linkat)(at, from, folder, to, flags); }
int symlink(const char *from, const char *to) { FAIL("link", AT_FDCWD, to, 1, -1); return REAL(symlink)(from, to); }
ssize_t sendfile(int to, int from, off_t *at, size_t size) { FAIL("write", to, NULL, 1, -1); return REAL(sendfile)(to, from, at, size); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) { FAIL("write", to, NULL, 1, -1); return REAL(sendfile64)(to, from, at, size); }
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *place, size_t size, unsigned flags) {
    FAIL("write", to, NULL, 1, -1);
    return REAL(copy_file_range)(from, at, to, place, size, flags);
}
