// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package load

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller says what the load waits with.
const Poller = "epoll"

// epollPoller waits with epoll_pwait2(2), which takes nanoseconds; kernels before 5.11 only have milliseconds.
type epollPoller struct {
	fd     int
	coarse bool // no epoll_pwait2
	raw    [eventsAtOnce]unix.EpollEvent
	events [eventsAtOnce]event
}

func newPoller() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &epollPoller{fd: fd}, nil
}

func (p *epollPoller) control(op, fd int, slot int32, write bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: slot}
	if write {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.fd, op, fd, &e)
}

func (p *epollPoller) add(fd int, slot int32, write bool) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, slot, write)
}

func (p *epollPoller) change(fd int, slot int32, write bool) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, slot, write)
}

// remove makes no call: a closed socket leaves by itself, and no descriptor here is a duplicate.
func (p *epollPoller) remove(int, int32) {}

func (p *epollPoller) wait(d time.Duration) ([]event, error) {
	n, err := p.poll(d)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			err = nil
		}
		return nil, err
	}
	for i, e := range p.raw[:n] {
		p.events[i] = event{e.Fd, e.Events&^unix.EPOLLOUT != 0, e.Events&unix.EPOLLOUT != 0}
	}
	return p.events[:n], nil
}

func (p *epollPoller) poll(d time.Duration) (int, error) {
	if p.coarse || d < 0 || d == 0 {
		return unix.EpollWait(p.fd, p.raw[:], milliseconds(d))
	}
	// struct __kernel_timespec: two 64-bit numbers on every architecture
	ts := [2]int64{int64(d / time.Second), int64(d % time.Second)}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.raw[0])), eventsAtOnce,
		uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.ENOSYS, unix.EPERM:
		p.coarse = true
		return 0, unix.EINTR
	}
	return 0, errno
}

func (p *epollPoller) close() { unix.Close(p.fd) }
