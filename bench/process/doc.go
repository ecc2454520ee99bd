// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package process builds the servers under test, runs each as a process of its own by the protocol of bench/target, and
// reads from outside what it costs: CPU time, resident memory, context switches and system calls.
//
// catalogue.go names the servers, build.go makes their programs, process.go starts and stops one. usage_*.go reads the
// kernel's accounts and syscalls_*.go counts system calls; on systems without them figures stay unknown.
package process
