// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import "time"

// A poller tells which sockets are ready. Its methods are called by one thread. Sockets are known by their slot, a small
// number that the caller chose. Readiness is level-triggered: told again until the cause is gone.
type poller interface {
	// add watches a socket for input, and for room to write if write is set.
	add(fd int, slot int32, write bool) error
	// change sets whether room to write is told.
	change(fd int, slot int32, write bool) error
	// remove forgets a socket. It comes before the socket is closed.
	remove(fd int, slot int32)
	// wait waits for at most d, for ever if d is negative, and returns what is ready, valid until the next call.
	wait(d time.Duration) ([]event, error)
	close()
}

// An event is a socket's readiness. Errors and hang-ups are input, for reading tells which they are.
type event struct {
	slot        int32
	read, write bool
}

const eventsAtOnce = 512
