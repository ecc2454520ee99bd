// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !linux

package process

import "syscall"

// neverAlone has nothing to ask of the system here: only a benchmark that is killed outright leaves its server behind.
func neverAlone() *syscall.SysProcAttr { return nil }
