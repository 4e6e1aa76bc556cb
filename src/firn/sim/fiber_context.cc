#include "firn/sim/fiber_context.h"

#include <cstdint>

#include "firn/base/check.h"

#if defined(FIRN_SIM_OWN_SWITCH)

// What the calling convention lets a function keep in registers goes to the stack; the rest the compiler has saved.
extern "C" void FirnSimSwitchStack(void** from_stack_pointer, void* to_stack_pointer);
asm(R"(
.text
.align 16
.globl FirnSimSwitchStack
.hidden FirnSimSwitchStack
.type FirnSimSwitchStack, @function
FirnSimSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size FirnSimSwitchStack, .-FirnSimSwitchStack
)");

namespace firn::sim {
namespace {

constexpr size_t kSavedRegisters = 6;

}  // namespace

void PrepareFiber(FiberContext& context, void* stack, size_t stack_bytes, void (*entry)()) {
  auto* top = reinterpret_cast<uintptr_t*>(static_cast<char*>(stack) + stack_bytes);
  // As after a call: the return address (there is none) stands at an address that is a multiple of 16 less 8.
  *--top = 0;
  *--top = reinterpret_cast<uintptr_t>(entry);
  for (size_t i = 0; i < kSavedRegisters; ++i) *--top = 0;
  context.stack_pointer = top;
}

void SwitchFiber(FiberContext& from, FiberContext& to) {
  FirnSimSwitchStack(&from.stack_pointer, to.stack_pointer);
}

}  // namespace firn::sim

#else

namespace firn::sim {

void PrepareFiber(FiberContext& context, void* stack, size_t stack_bytes, void (*entry)()) {
  FIRN_CHECK(getcontext(&context.context) == 0, "no context for a fiber");
  context.context.uc_stack.ss_sp = stack;
  context.context.uc_stack.ss_size = stack_bytes;
  context.context.uc_link = nullptr;
  makecontext(&context.context, entry, 0);
}

void SwitchFiber(FiberContext& from, FiberContext& to) {
  FIRN_CHECK(swapcontext(&from.context, &to.context) == 0, "cannot switch to another fiber");
}

}  // namespace firn::sim

#endif
