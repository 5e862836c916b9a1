/* milvus21 ROLE: one component of Milvus 2.1.0 (rootcoord, proxy, querynode, ...) as a process of its own.
 *
 * PyPI's 2.1.0 is a shared library whose one entry, startEmbedded, sets MILVUSCONF and then runs the words
 * "", "run", "embedded". Here, in memory only, the third word becomes ROLE, and MILVUSCONF stays as it was given. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern void startEmbedded(void);

/* Addresses in the wheel's embd-milvus.so. */
enum { ENTRY = 0x2941d28, SETENV_CALL = 0x2941c6c, LENGTH = 0x2941c9b, STRING = 0x2941ca2, AFTER_STRING = 0x2941ca6 };

static const char *role;
static uint8_t *base, *found;

/* Looks for the role's name among the library's constants. */
static int find(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    if ((uint8_t *)info->dlpi_addr != base) return 0;
    for (int i = 0; i < info->dlpi_phnum && !found; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
            found = memmem(base + segment->p_vaddr, segment->p_memsz, role, strlen(role));
    }
    return 1;
}

static int refuse(const char *why) {
    fprintf(stderr, "milvus21: %s\n", why);
    return 2;
}

int main(int argc, char **argv) {
    static const uint8_t call = 0xe8, load_address[] = {0x48, 0x8d, 0x15}, nothing[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
    if (argc != 2) return refuse("usage: milvus21 ROLE");
    role = argv[1];
    base = (uint8_t *)dlsym(RTLD_DEFAULT, "startEmbedded") - ENTRY;
    if (base[SETENV_CALL] != call || memcmp(base + STRING - 3, load_address, 3) || *(int32_t *)(base + LENGTH) != 8)
        return refuse("not the library that this was written for");
    dl_iterate_phdr(find, NULL);
    if (!found) return refuse("the library has no such role");
    void *page = (void *)((uintptr_t)(base + SETENV_CALL) & ~0xfffUL);
    if (mprotect(page, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC)) return refuse("mprotect failed");
    memcpy(base + SETENV_CALL, nothing, sizeof nothing);
    *(int32_t *)(base + LENGTH) = (int32_t)strlen(role);
    *(int32_t *)(base + STRING) = (int32_t)(found - (base + AFTER_STRING));
    mprotect(page, 0x2000, PROT_READ | PROT_EXEC);
    startEmbedded();
    return 0;
}
