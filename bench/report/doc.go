// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package report shows a recorded run to people. It only reads records: whatever it says can be said again from a -json
// file.
//
// table.go is the table on the terminal, format.go how figures are written, progress.go the bar while a run lasts.
// view.go makes charts and tables of one or more runs, sweep.go those of growing work. html.go puts them on a page,
// markdown.go into BENCHMARKS.md; method.go is the page on method in both, history.go what changed from run to run,
// command.go `bench report`.
package report
