/* A Cortex-M without a system: it hears the samples in samples.h and says through the debugger's semihosting what it has
 * heard, how many instructions a hop took, and how deep its stack became.
 *
 * Under QEMU's -icount shift=0 every instruction takes a nanosecond, and the board's timer counts 25 million ticks a
 * second: forty instructions are a tick. A loop of known length checks that.
 */
#include "kws_model.h"
#include "samples.h" /* static const int16_t samples[]; */
#include <string.h>

#define TIMER ((volatile uint32_t *)0x40000000) /* control, value, reload */
#define FLOATING_POINT_ACCESS (*(volatile uint32_t *)0xe000ed88)
#define INSTRUCTIONS_PER_TICK 40u

extern uint32_t data_begin[], data_end[], data_stored[], bss_begin[], bss_end[], stack_top[];
void start(void);
int main(void);

__attribute__((section(".vectors"), used)) static void *const vectors[] = {stack_top, (void *)start};

static void ask_debugger(uint32_t what, const void *argument)
{
    register uint32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void say(const char *text)
{
    ask_debugger(0x04, text);
}

static void say_number(uint32_t number, const char *behind)
{
    char digits[11];
    char *first = digits + sizeof digits - 1;
    *first = 0;
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    say(first);
    say(behind);
}

void start(void)
{
    FLOATING_POINT_ACCESS |= 0xfu << 20;
    __asm__ volatile("dsb\nisb");
    memcpy(data_begin, data_stored, (size_t)((char *)data_end - (char *)data_begin));
    memset(bss_begin, 0, (size_t)((char *)bss_end - (char *)bss_begin));
    main();
    ask_debugger(0x18, (const void *)0x20026); /* the program has ended as it should */
    for (;;) {
    }
}

static kws_state state;
static uint32_t began;

static void start_clock(void)
{
    TIMER[0] = 0;
    TIMER[1] = TIMER[2] = 0xffffffffu;
    TIMER[0] = 1;
    began = TIMER[1];
}

static uint32_t instructions(void)
{
    return (began - TIMER[1]) * INSTRUCTIONS_PER_TICK;
}

int main(void)
{
    start_clock();
    uint32_t rounds = 1000000;
    __asm__ volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
    say_number(instructions(), " instructions for two million\n");

    /* What lies below the stack is painted, and looked at afterwards. */
    uint32_t here = 0;
    volatile uint32_t *const paint = &here - 4096;
    for (int i = 0; i < 4000; i++) {
        paint[i] = 0xdecafbadu;
    }
    kws_init(&state);
    const uint32_t hops = sizeof samples / sizeof *samples / KWS_HOP;
    uint32_t total = 0, most = 0, digest = 2166136261u; /* the last one as Fowler, Noll and Vo do it */
    for (uint32_t hop = 0; hop < hops; hop++) {
        kws_detection found;
        start_clock();
        const size_t count = kws_hear(&state, samples + hop * KWS_HOP, KWS_HOP, &found, 1);
        const uint32_t taken = instructions();
        total += taken;
        most = taken > most ? taken : most;
#if KWS_INTEGERS
        for (int i = 0; i < KWS_LABELS; i++) {
            digest = (digest ^ (uint32_t)state.totals[i]) * 16777619u;
        }
#endif
        if (count > 0) {
            uint32_t bits;
            memcpy(&bits, &found.confidence, sizeof bits);
            say_number((uint32_t)found.label, " ");
            say_number((uint32_t)found.sample, " ");
            say_number(bits, " detection\n");
        }
    }
    int depth = 4000;
    for (int i = 0; i < 4000 && paint[i] == 0xdecafbadu; i++) {
        depth--;
    }
    say_number(total / hops, " instructions a hop\n");
    say_number(most, " instructions at most\n");
    say_number(4u * (uint32_t)(depth + 96), " bytes of stack\n");
    say_number((uint32_t)sizeof state, " bytes of state\n");
    say_number(digest, " digest of integers\n");
    return 0;
}
