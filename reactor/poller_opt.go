// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && poll_opt

package reactor

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

// attachments in the poll_opt build: the kernel keeps a pointer to the attachment and an event can outlive the
// connection it was registered for. So an attachment belongs to a descriptor number, not to a connection, and lives
// as long as the poller: no event can point to freed memory.
type attachments struct {
	callback netpoll.PollEventHandler
	byFD     []*netpoll.PollAttachment
}

func (a *attachments) attachment(fd int) *netpoll.PollAttachment {
	for fd >= len(a.byFD) {
		a.byFD = append(a.byFD, nil)
	}
	if a.byFD[fd] == nil {
		a.byFD[fd] = &netpoll.PollAttachment{FD: fd, Callback: a.callback}
	}
	return a.byFD[fd]
}

// run calls the callback for each event until it returns stopPolling.
func (p *poller) run() error { return p.np.Polling() }
