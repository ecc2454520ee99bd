// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !linux

package process

// A SyscallCounter counts system calls, on Linux only.
type SyscallCounter struct{}

// SyscallsHow says why system calls are not counted here.
func SyscallsHow() (how string, ok bool) { return "not counted: only on Linux", false }

// CountSyscalls returns nil.
func (p *Process) CountSyscalls() *SyscallCounter { return nil }

// Count returns nil.
func (c *SyscallCounter) Count() *int64 { return nil }

// Close does nothing.
func (c *SyscallCounter) Close() {}
