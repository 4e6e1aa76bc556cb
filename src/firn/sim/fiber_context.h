// FiberContext: where a stack stands that is not running, and how to go from one to another.
//
// x86-64 has a switch of a dozen instructions; swapcontext, which everything else uses, asks the kernel for the signal
// mask at every switch, and a simulation switches hundreds of thousands of times a second. One OS thread.
#pragma once

#include <cstddef>

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define FIRN_SIM_OWN_SWITCH 1
#else
#include <ucontext.h>
#endif

namespace firn::sim {

struct FiberContext {
#if defined(FIRN_SIM_OWN_SWITCH)
  void* stack_pointer = nullptr;
#else
  ucontext_t context{};
#endif
};

// The first switch to it calls `entry` on that stack. `entry` must not return.
void PrepareFiber(FiberContext& context, void* stack, size_t stack_bytes, void (*entry)());
// Comes back when somebody switches to `from`.
void SwitchFiber(FiberContext& from, FiberContext& to);

}  // namespace firn::sim
