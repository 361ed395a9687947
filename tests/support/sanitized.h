// sanitized: whether this program runs under the address or thread sanitizer.
//
// The sanitizers look at our own code. What a test does again and again with other numbers, in LLVM or in code that LLVM has made, they do not see, and it
// takes most of the time: there a test may leave out repetitions that the release form runs in full. Every path of our code stays.
#ifndef MLCC_TESTS_SUPPORT_SANITIZED_H
#define MLCC_TESTS_SUPPORT_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define IS_SANITIZED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define IS_SANITIZED 1
#    endif
#endif
#ifndef IS_SANITIZED
#    define IS_SANITIZED 0
#endif

#endif
