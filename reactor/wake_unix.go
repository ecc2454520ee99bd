// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package reactor

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A waker is a descriptor that a loop watches: it stays readable from ring until silence. A pipe(2) here.
type waker struct{ fd, write int }

func openWaker() (waker, error) {
	var ends [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(ends[:]); err != nil {
		return waker{}, os.NewSyscallError("pipe", err)
	}
	for _, fd := range ends {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(ends[0])
			_ = unix.Close(ends[1])
			return waker{}, os.NewSyscallError("fcntl", err)
		}
	}
	return waker{ends[0], ends[1]}, nil
}

// ring makes the descriptor readable. Any goroutine may call it.
func (w waker) ring() {
	_, _ = unix.Write(w.write, []byte{1}) // a full pipe is readable already
}

// silence makes it unreadable again.
func (w waker) silence() {
	var buf [512]byte
	for {
		if n, err := unix.Read(w.fd, buf[:]); n < len(buf) || err != nil {
			return
		}
	}
}

// await returns when the descriptor is readable.
func (w waker) await() {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(time.Second/time.Millisecond))
}

func (w waker) close() {
	_ = unix.Close(w.fd)
	_ = unix.Close(w.write)
}
