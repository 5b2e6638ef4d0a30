/* Preloaded into a process, writes down what it does to the files below a folder: see powerloss.py.
 *
 * LINLI_POWERLOSS_ROOT is the folder (absolute, resolved), LINLI_POWERLOSS_LOG the record. One entry is
 *     char op; uint64 inode; uint64 offset or size; uint32 length of path; uint32 length of data; path; data
 * with op  c created  w written  t truncated  f file synced  d folder synced  r renamed (data: new path)
 *          u unlinked  m folder made
 * Calls and entries are under one lock, so their order is the same. Several processes are not supported.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_len;
static int record = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void start(void)
{
    const char *r = getenv("LINLI_POWERLOSS_ROOT"), *l = getenv("LINLI_POWERLOSS_LOG");
    real_write = REAL(write);
    if (!r || !l)
        return;
    strncpy(root, r, sizeof root - 1);
    root_len = strlen(root);
    record = REAL(open)(l, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int inside(const char *path)
{
    return record >= 0 && !strncmp(path, root, root_len) && (path[root_len] == '/' || !path[root_len]);
}

/* The path of an open file, or of a name relative to a folder; 0 if it is not below the root. */
static int path_of(int fd, char *path)
{
    char link[64];
    ssize_t n;
    if (record < 0 || fd == record)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0)
        return 0;
    path[n] = 0;
    return inside(path);
}

static int path_at(int dir, const char *name, char *path)
{
    if (record < 0)
        return 0;
    if (name[0] == '/')
        snprintf(path, PATH_MAX, "%s", name);
    else if (dir == AT_FDCWD) {
        if (!getcwd(path, PATH_MAX - 1))
            return 0;
        snprintf(path + strlen(path), PATH_MAX - strlen(path), "/%s", name);
    } else {
        char link[64];
        ssize_t n;
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        n = readlink(link, path, PATH_MAX - 1);
        if (n <= 0)
            return 0;
        snprintf(path + n, PATH_MAX - n, "/%s", name);
    }
    return inside(path);
}

static void put(const void *data, size_t size)
{
    const char *p = data;
    while (size) {
        ssize_t n = real_write(record, p, size);
        if (n <= 0)
            abort(); /* an incomplete record would prove nothing */
        p += n;
        size -= n;
    }
}

static void note(char op, uint64_t inode, uint64_t offset, const char *path, const void *data, size_t size)
{
    char head[25];
    uint32_t path_len = strlen(path), data_len = size;
    head[0] = op;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &offset, 8);
    memcpy(head + 17, &path_len, 4);
    memcpy(head + 21, &data_len, 4);
    put(head, sizeof head);
    put(path, path_len);
    put(data, size);
}

static uint64_t inode_of(int fd)
{
    struct stat s;
    return fstat(fd, &s) ? 0 : s.st_ino;
}

#define LOCKED(statements) do { int e_; pthread_mutex_lock(&lock); statements e_ = errno; \
                                pthread_mutex_unlock(&lock); errno = e_; } while (0)

static int opened(int (*call)(int, const char *, int, ...), int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    int fd, ours = path_at(dir, name, path), fresh;
    if (!ours)
        return call(dir, name, flags, mode);
    LOCKED(
        fresh = (flags & O_CREAT) && access(path, F_OK);
        fd = call(dir, name, flags, mode);
        if (fd >= 0 && fresh)
            note('c', inode_of(fd), 0, path, "", 0);
        else if (fd >= 0 && (flags & O_TRUNC))
            note('t', inode_of(fd), 0, path, "", 0);
    );
    return fd;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); \
                                  mode = va_arg(a, mode_t); va_end(a); }
int open(const char *name, int flags, ...) { MODE return opened(REAL(openat), AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return opened(REAL(openat64), AT_FDCWD, name, flags, mode); }
int openat(int d, const char *name, int flags, ...) { MODE return opened(REAL(openat), d, name, flags, mode); }
int openat64(int d, const char *name, int flags, ...) { MODE return opened(REAL(openat64), d, name, flags, mode); }
int creat(const char *name, mode_t mode)
{
    return opened(REAL(openat), AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    char path[PATH_MAX];
    ssize_t n;
    if (!path_of(fd, path))
        return real_write(fd, data, size);
    LOCKED(
        n = real_write(fd, data, size);
        if (n > 0)
            note('w', inode_of(fd), lseek(fd, 0, SEEK_CUR) - n, path, data, n);
    );
    return n;
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    char path[PATH_MAX];
    ssize_t n, done = 0;
    if (!path_of(fd, path))
        return REAL(writev)(fd, v, count);
    for (int i = 0; i < count; i++) {
        if ((n = write(fd, v[i].iov_base, v[i].iov_len)) < 0)
            return done ? done : n;
        done += n;
        if ((size_t)n < v[i].iov_len)
            break;
    }
    return done;
}

static ssize_t placed(ssize_t (*call)(int, const void *, size_t, off64_t), int fd, const void *data, size_t size,
                      off64_t at)
{
    char path[PATH_MAX];
    ssize_t n;
    if (!path_of(fd, path))
        return call(fd, data, size, at);
    LOCKED(
        n = call(fd, data, size, at);
        if (n > 0)
            note('w', inode_of(fd), at, path, data, n);
    );
    return n;
}
ssize_t pwrite(int fd, const void *d, size_t n, off_t at) { return placed(REAL(pwrite64), fd, d, n, at); }
ssize_t pwrite64(int fd, const void *d, size_t n, off64_t at) { return placed(REAL(pwrite64), fd, d, n, at); }

static int cut(int fd, off64_t size)
{
    char path[PATH_MAX];
    int r;
    if (!path_of(fd, path))
        return REAL(ftruncate64)(fd, size);
    LOCKED(
        r = REAL(ftruncate64)(fd, size);
        if (!r)
            note('t', inode_of(fd), size, path, "", 0);
    );
    return r;
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

static int synced(int (*call)(int), int fd)
{
    char path[PATH_MAX];
    struct stat s;
    int r;
    if (!path_of(fd, path))
        return call(fd);
    LOCKED(
        r = call(fd);
        if (!r && !fstat(fd, &s))
            note(S_ISDIR(s.st_mode) ? 'd' : 'f', s.st_ino, 0, path, "", 0);
    );
    return r;
}
int fsync(int fd) { return synced(REAL(fsync), fd); }
int fdatasync(int fd) { return synced(REAL(fdatasync), fd); }

static int renamed(int d1, const char *from, int d2, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    int r;
    if (!path_at(d1, from, a) || !path_at(d2, to, b))
        return REAL(renameat)(d1, from, d2, to);
    LOCKED(
        r = REAL(renameat)(d1, from, d2, to);
        if (!r)
            note('r', 0, 0, a, b, strlen(b));
    );
    return r;
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int d1, const char *from, int d2, const char *to) { return renamed(d1, from, d2, to); }

static int removed(int dir, const char *name, int flags)
{
    char path[PATH_MAX];
    int r;
    if (!path_at(dir, name, path))
        return REAL(unlinkat)(dir, name, flags);
    LOCKED(
        r = REAL(unlinkat)(dir, name, flags);
        if (!r)
            note('u', 0, 0, path, "", 0);
    );
    return r;
}
int unlink(const char *name) { return removed(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return removed(AT_FDCWD, name, AT_REMOVEDIR); }
int unlinkat(int dir, const char *name, int flags) { return removed(dir, name, flags); }

static int made(int dir, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    int r;
    if (!path_at(dir, name, path))
        return REAL(mkdirat)(dir, name, mode);
    LOCKED(
        r = REAL(mkdirat)(dir, name, mode);
        if (!r)
            note('m', 0, 0, path, "", 0);
    );
    return r;
}
int mkdir(const char *name, mode_t mode) { return made(AT_FDCWD, name, mode); }
int mkdirat(int dir, const char *name, mode_t mode) { return made(dir, name, mode); }
