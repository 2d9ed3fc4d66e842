/*
 * Preloaded into a server under test, between it and the system:
 *
 * FLOWMILL_TEST_DIE_AT_SYNC=N   it dies, as by `kill -9`, before (N odd) or after (N even) a file is made durable
 * FLOWMILL_TEST_DIE_AT_WRITE=N  it dies in the middle of its N-th write to a place in a file
 * FLOWMILL_TEST_CLOCK=FILE      its wall clock is off by the seconds in FILE: 8 bytes, which may change
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long die_at_sync, die_at_write;
static atomic_long syncs, writes;
static volatile int64_t *clock_is_off_by;

static long number(const char *variable) {
    const char *value = getenv(variable);
    return value ? atol(value) : 0;
}

__attribute__((constructor)) static void begin(void) {
    die_at_sync = number("FLOWMILL_TEST_DIE_AT_SYNC");
    die_at_write = number("FLOWMILL_TEST_DIE_AT_WRITE");
    const char *path = getenv("FLOWMILL_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file >= 0) {
        void *map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        clock_is_off_by = map == MAP_FAILED ? NULL : map;
        close(file);
    }
}

static void die(void) { kill(getpid(), SIGKILL); }

static void sync_point(void) {
    if (atomic_fetch_add(&syncs, 1) + 1 == die_at_sync)
        die();
}

int fdatasync(int file) {
    sync_point();
    int result = (int)syscall(SYS_fdatasync, file);
    sync_point();
    return result;
}

int fsync(int file) {
    sync_point();
    int result = (int)syscall(SYS_fsync, file);
    sync_point();
    return result;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    if (atomic_fetch_add(&writes, 1) + 1 == die_at_write) {
        syscall(SYS_pwrite64, file, bytes, count / 2, at);
        die();
    }
    return syscall(SYS_pwrite64, file, bytes, count, at);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && clock_is_off_by)
        time->tv_sec += *clock_is_off_by;
    return result;
}
