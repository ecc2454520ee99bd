// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !quartet_simulated

package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A waker is a descriptor that a loop watches level-triggered: it stays readable from ring until silence. An
// eventfd(2) here.
type waker struct{ fd int }

func openWaker() (waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return waker{fd}, os.NewSyscallError("eventfd", err)
}

// ring makes the descriptor readable. Any goroutine may call it.
func (w waker) ring() {
	one := [8]byte{0: 1, 7: 1} // not zero in either byte order
	_, _ = unix.Write(w.fd, one[:])
}

// silence makes it unreadable again.
func (w waker) silence() {
	var count [8]byte
	_, _ = unix.Read(w.fd, count[:])
}

// await returns when the descriptor is readable.
func (w waker) await() {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(time.Second/time.Millisecond))
}

func (w waker) close() { _ = unix.Close(w.fd) }
