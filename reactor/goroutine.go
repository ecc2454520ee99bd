// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutineID returns the number of the running goroutine, which Go tells in stack traces only. It is for questions asked
// rarely: whether Shutdown was called on a loop, and the assertions of race builds.
func goroutineID() uint64 {
	var buf [64]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	id, _ := strconv.ParseUint(string(digits), 10, 64)
	return id
}

// onLoop says whether the caller runs on one of the reactor's loops.
func (r *Reactor) onLoop() bool {
	id := goroutineID()
	for _, l := range r.loops {
		if l.goid.Load() == id {
			return true
		}
	}
	return false
}
