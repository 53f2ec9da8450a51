/* A disk that fails at will, for LD_PRELOAD: calls on files of the journal fail, or take long, as FAULTY_DISK says.
 *
 * FAULTY_DISK names a file; while it exists it holds "CALL ERRNO MILLISECONDS", such as "sync 5 0" or "write 30 0".
 * ERRNO 0: the call only takes so long.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int fault(const char *call, int fd)
{
    char link[64], name[4096], wanted[16] = "";
    int error = 0, ms = 0, saved = errno;
    FILE *file;
    ssize_t length;
    const char *control = getenv("FAULTY_DISK");
    if (control == NULL || access(control, F_OK) != 0) {
        errno = saved;
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof name - 1);
    if (length <= 0)
        return 0;
    name[length] = 0;
    if (strstr(name, "journal.db") == NULL)
        return 0;
    file = fopen(control, "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%15s %d %d", wanted, &error, &ms) != 3 || strcmp(wanted, call) != 0)
        error = ms = 0;
    fclose(file);
    if (ms > 0) {
        struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
    errno = error != 0 ? error : saved;
    return error;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fault("sync", fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fault("sync", fd) ? -1 : REAL(fdatasync)(fd); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return fault("write", fd) ? -1 : REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return fault("write", fd) ? -1 : REAL(pwrite64)(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size) { return fault("write", fd) ? -1 : REAL(write)(fd, data, size); }
