// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !poll_opt

package reactor

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

// attachments in the default build: gnet looks at the descriptor number alone and keeps nothing, so one value serves all.
type attachments struct {
	callback netpoll.PollEventHandler
	scratch  netpoll.PollAttachment
}

func (a *attachments) attachment(fd int) *netpoll.PollAttachment {
	a.scratch.FD = fd
	return &a.scratch
}

// run calls the callback for each event until it returns stopPolling.
func (p *poller) run() error { return p.np.Polling(p.callback) }
