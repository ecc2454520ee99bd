// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !linux

package process

import "errors"

// Usage knows nothing here: the accounts are those of Linux's /proc.
func (p *Process) Usage() Usage { return Usage{} }

// RSS is not known here.
func (p *Process) RSS() *int64 { return nil }

var errLinux = errors.New("only on Linux")

// LimitFiles cannot be done here.
func (p *Process) LimitFiles(int) error { return errLinux }

// Files cannot be known here.
func (p *Process) Files() (int, error) { return 0, errLinux }
