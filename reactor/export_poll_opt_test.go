// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && poll_opt

package reactor

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

// setCallback replaces what the poller calls, before it runs.
func (p *poller) setCallback(callback netpoll.PollEventHandler) {
	p.callback = callback
	for _, pa := range p.byFD {
		if pa != nil {
			pa.Callback = callback
		}
	}
}
