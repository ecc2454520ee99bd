// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// pollPoller is the poller of systems without epoll. Each wait costs time for every connection, so the load generator is
// busier than it need be; the reports say which poller it was.
type pollPoller struct {
	fds    []unix.PollFd
	slots  []int32
	at     map[int32]int // slot -> index
	events []event
}

func newPollPoller() *pollPoller { return &pollPoller{at: make(map[int32]int)} }

func interest(write bool) int16 {
	if write {
		return unix.POLLIN | unix.POLLOUT
	}
	return unix.POLLIN
}

func (p *pollPoller) add(fd int, slot int32, write bool) error {
	p.at[slot] = len(p.fds)
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: interest(write)})
	p.slots = append(p.slots, slot)
	return nil
}

func (p *pollPoller) change(_ int, slot int32, write bool) error {
	p.fds[p.at[slot]].Events = interest(write)
	return nil
}

func (p *pollPoller) remove(_ int, slot int32) {
	i, last := p.at[slot], len(p.fds)-1
	p.fds[i], p.slots[i] = p.fds[last], p.slots[last]
	p.at[p.slots[i]] = i
	p.fds, p.slots = p.fds[:last], p.slots[:last]
	delete(p.at, slot)
}

func (p *pollPoller) wait(d time.Duration) ([]event, error) {
	p.events = p.events[:0]
	n, err := unix.Poll(p.fds, milliseconds(d))
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	for i := 0; i < len(p.fds) && n > 0; i++ {
		if r := p.fds[i].Revents; r != 0 {
			p.events = append(p.events, event{p.slots[i], r&^unix.POLLOUT != 0, r&unix.POLLOUT != 0})
			n--
		}
	}
	return p.events, err
}

func (p *pollPoller) close() {}

// milliseconds rounds down: a request is better asked for twice than late.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(min(d/time.Millisecond, 1<<20))
}
