// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && (!linux || quartet_edge)

package reactor

// edgeTriggered says whether interestRead reports each arrival once (true) or as long as there is input (false).
const edgeTriggered = true

// set changes what fd is watched for. From is what it was watched for until now.
//
// This is the way of kqueue; on Linux a tag builds it for testing, over epoll. gnet's kqueue poller can neither
// remove the read filter nor deregister (its Delete does nothing there), so reading is registered edge-triggered
// (EV_CLEAR), once, and stays: who does not want input ignores the event and reads again on resuming. Only the write
// filter comes and goes. Closing a descriptor removes its filters, and registering one anew is permitted, see kqueue(2);
// epoll wants it deregistered for either, since somebody else may have the open file too.
func (p *poller) set(fd int, from, to interest) error {
	pa := p.attachment(fd)
	write, wrote := to == interestWrite || to == interestBoth, from == interestWrite || from == interestBoth
	if from == unregistered {
		if write {
			return p.np.AddReadWrite(pa, true)
		}
		return p.np.AddRead(pa, true)
	}
	switch {
	case to == unregistered:
		return p.np.Delete(fd)
	case write == wrote:
		return nil
	case write:
		return p.np.ModReadWrite(pa, true)
	default:
		return p.np.ModRead(pa, true)
	}
}
