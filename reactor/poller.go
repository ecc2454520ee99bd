// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

// The poller's contract, what the rest of the package relies on and each platform file provides.
//
// An event names a descriptor number and is a hint, no more: the number may have been closed and reused inside the
// same batch. Only the result of a system call on the descriptor that a connection owns now decides anything.
//
// A descriptor has one of four interests:
//
//	interestNone    no input, no room: at most a few events, one of them for a hang-up, an error or the peer's end
//	interestRead    level-triggered: an event as long as there is input (epoll), or one event for each arrival (kqueue)
//	interestWrite   level-triggered: an event as long as there is room; none for input
//	interestBoth    the two together
//
// Hang-ups and errors are reported in all of them. gnet's poller has neither "none" nor "write only";
// interest_level.go and interest_edge.go make them of what it has.
//
// gnet's Trigger is not used at all. Its queues allocate, drain without bound and run one batch late; a loop wakes by a
// descriptor of its own (wake.go) and ends by an error of its callback.

// An interest is what a descriptor is watched for.
type interest uint8

const (
	unregistered interest = iota
	interestNone
	interestRead
	interestWrite
	interestBoth
)

// A poller is gnet's, with the four interests. Only its loop may call it, but for open and close.
type poller struct {
	np nativePoller
	attachments
}

func openPoller(callback netpoll.PollEventHandler) (*poller, error) {
	np, err := openNativePoller()
	if err != nil {
		return nil, err
	}
	p := &poller{np: np}
	p.callback = callback
	return p, nil
}

// watchWaker registers the loop's wake-up descriptor, level-triggered on every system.
func (p *poller) watchWaker(fd int) error { return p.np.AddRead(p.attachment(fd), false) }

func (p *poller) close() error { return p.np.Close() }

// stopPolling ends poller.run when the callback returns it. gnet ends Polling for errors that are, in the sense of
// errors.Is, its own shutdown error; answering Is spares the import of a third gnet package for one name.
type stopPolling struct{}

func (stopPolling) Error() string   { return "reactor: loop stopped" }
func (stopPolling) Is(_ error) bool { return true }
