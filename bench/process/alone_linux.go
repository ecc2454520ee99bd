// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import "syscall"

// neverAlone has a server killed when the benchmark is, which then cannot stop it. The kernel looks at the thread that
// started it, and Go's threads last as long as the program: only a goroutine that ends locked to one takes it along.
func neverAlone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
