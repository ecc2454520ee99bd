// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && !quartet_edge

package reactor

// edgeTriggered says whether interestRead reports each arrival once (true) or as long as there is input (false).
const edgeTriggered = false

// set changes what fd is watched for. From is what it was watched for until now.
func (p *poller) set(fd int, from, to interest) error {
	pa := p.attachment(fd)
	switch to {
	case interestRead:
		if from == unregistered {
			return p.np.AddRead(pa, false)
		}
		return p.np.ModRead(pa, false)
	case interestBoth:
		if from == unregistered {
			return p.np.AddReadWrite(pa, false)
		}
		return p.np.ModReadWrite(pa, false)
	}
	// What follows is missing in gnet's poller and made of two calls: EPOLL_CTL_MOD always includes reading there.
	if from != unregistered {
		if err := p.np.Delete(fd); err != nil {
			return err
		}
	}
	switch to {
	case interestWrite:
		return p.np.AddWrite(pa, false)
	case interestNone:
		// Edge-triggered EPOLLOUT|EPOLLRDHUP: one event now, one each for hang-up, error and the peer's end, none for data.
		return p.np.AddWrite(pa, true)
	}
	return nil
}
