// Loaded into a process before its libraries: its wall clock is off by CLOCK_SHIFT seconds, its monotonic clock is not.
// Waits until a wall-clock time are shifted back, so that they end when the process means them to, as where the machine's
// own clock is off.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

// A time of a clock that counts from the start of the machine is below this; a wall-clock time is above.
#define EPOCH_MIN 1000000000L

typedef int clock_gettime_fn(clockid_t, struct timespec *);
typedef int clockwait_fn(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
typedef int cnd_timedwait_fn(cnd_t *, mtx_t *, const struct timespec *);

static long shift;
static clock_gettime_fn *real_gettime;
static clockwait_fn *real_clockwait;
static cnd_timedwait_fn *real_timedwait;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("CLOCK_SHIFT");
    shift = text ? atol(text) : 0;
    real_gettime = (clock_gettime_fn *)dlsym(RTLD_NEXT, "clock_gettime");
    real_clockwait = (clockwait_fn *)dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    real_timedwait = (cnd_timedwait_fn *)dlsym(RTLD_NEXT, "cnd_timedwait");
}

static struct timespec back(const struct timespec *until) {
    struct timespec real = *until;
    real.tv_sec -= shift;
    return real;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = real_gettime ? real_gettime(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift;
    return answer;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec fine;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until) {
    struct timespec real = clock == CLOCK_REALTIME ? back(until) : *until;
    return real_clockwait(cond, mutex, clock, &real);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    clockid_t clock = until->tv_sec >= EPOCH_MIN ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    return pthread_cond_clockwait(cond, mutex, clock, until);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec real = back(until);
    return real_timedwait(cond, mutex, &real);
}
