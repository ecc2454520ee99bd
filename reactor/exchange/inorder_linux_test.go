// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange_test

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// inOrder has what the calling goroutine sends arrive in this order. A processor keeps a queue of its own of what the
// machine sends to itself, so what a thread sends before it moves to another can be overtaken by what it sends after.
func inOrder() {
	runtime.LockOSThread() // which ends with the goroutine, and nobody else has it then
	var all, one unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil {
		return
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	_ = unix.SchedSetaffinity(0, &one)
}
