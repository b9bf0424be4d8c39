" Builds what depends on a file whenever that is saved, without blocking, and lists what is wrong in the quickfix list.
" For Vim 8.2 and newer, and Neovim.
"
"   :ClmBuild   builds the whole course
"   :ClmErrors  opens the list
"
"   g:clm_program  the command                                      'clm'
"   g:clm_spec     the specification, if it is no `course.xml` above the files    ''
"   g:clm_options  further options of `clm build`, such as ['--fast']             []
"   g:clm_on_save  whether saving builds                            1
"   g:clm_open     whether the list is opened with errors and closed without      0
"
" ClmStatus() is text for a status line. The event `User ClmDone` follows every build.

if exists('g:loaded_clm') || !(has('job') || has('nvim'))
  finish
endif
let g:loaded_clm = 1

let g:clm_program = get(g:, 'clm_program', 'clm')
let g:clm_spec = get(g:, 'clm_spec', '')
let g:clm_options = get(g:, 'clm_options', [])
let g:clm_on_save = get(g:, 'clm_on_save', 1)
let g:clm_open = get(g:, 'clm_open', 0)

let s:errorformat = '%f:%l:%c: %trror: %m,%f:%l: %trror: %m,%f:%l:%c: %tarning: %m,%f:%l: %tarning: %m,%-G%.%#'
" Builds that run, by the saved file; `*` stands for the whole course.
let s:builds = {}
" What is wrong: entries of the list, each with the specification and the saved file that it was found with.
let s:found = []
let s:list = 0
let s:number = 0

function! s:Real(path) abort
  return resolve(fnamemodify(a:path, ':p'))
endfunction

" The specification that a file belongs to, or an empty text.
function! s:Spec(file) abort
  if g:clm_spec !=# ''
    return s:Real(expand(g:clm_spec))
  endif
  let dir = fnamemodify(a:file, ':h')
  while 1
    if filereadable(dir . '/course.xml')
      return dir . '/course.xml'
    endif
    let above = fnamemodify(dir, ':h')
    if above ==# dir
      return ''
    endif
    let dir = above
  endwhile
endfunction

function! s:Say(text) abort
  redraw
  echohl WarningMsg
  echomsg 'clm: ' . a:text
  echohl None
endfunction

function! s:Start(spec, saved) abort
  if !executable(g:clm_program)
    call s:Say('there is no program `' . g:clm_program . '`; set g:clm_program')
    return
  endif
  let key = a:spec . "\n" . a:saved
  if has_key(s:builds, key)
    " What it says is out of date already.
    call s:Stop(remove(s:builds, key))
  endif
  let s:number += 1
  let build = {'number': s:number, 'key': key, 'spec': a:spec, 'saved': a:saved, 'out': [], 'err': [], 'open': 2}
  let command = [g:clm_program, 'build', '--message-format', 'short'] + g:clm_options
  if a:saved !=# '*'
    let command += ['--saved', a:saved]
  endif
  let command += ['--', a:spec]
  let s:builds[key] = build
  if has('nvim')
    let build.job = jobstart(command, {
          \ 'stdout_buffered': 1,
          \ 'stderr_buffered': 1,
          \ 'on_stdout': {_, lines, __ -> s:Output(build, lines)},
          \ 'on_stderr': {_, lines, __ -> extend(build.err, lines)},
          \ 'on_exit': {_, code, __ -> s:Exit(build, code)},
          \ })
    call chanclose(build.job, 'stdin')
  else
    let build.job = job_start(command, {
          \ 'in_io': 'null',
          \ 'out_cb': {_, line -> add(build.out, line)},
          \ 'err_cb': {_, line -> add(build.err, line)},
          \ 'close_cb': {_ -> s:Close(build)},
          \ 'exit_cb': {_, code -> s:Exit(build, code)},
          \ })
  endif
endfunction

function! s:Stop(build) abort
  if has('nvim')
    call jobstop(a:build.job)
  else
    call job_stop(a:build.job)
  endif
endfunction

function! s:Output(build, lines) abort
  let a:build.out = a:lines
  call s:Close(a:build)
endfunction

function! s:Exit(build, code) abort
  let a:build.code = a:code
  call s:Close(a:build)
endfunction

" The output and the exit come in any order.
function! s:Close(build) abort
  let a:build.open -= 1
  let current = get(s:builds, a:build.key, {'number': 0})
  if a:build.open == 0 && current.number == a:build.number
    call remove(s:builds, a:build.key)
    call s:Done(a:build)
  endif
endfunction

function! s:Done(build) abort
  let items = getqflist({'lines': a:build.out, 'efm': s:errorformat}).items
  let new = []
  for item in filter(items, 'v:val.valid')
    let entry = {
          \ 'filename': s:Real(bufname(item.bufnr)),
          \ 'lnum': item.lnum,
          \ 'col': item.col,
          \ 'type': toupper(item.type),
          \ 'text': item.text,
          \ }
    call add(new, {'spec': a:build.spec, 'saved': a:build.saved, 'entry': entry})
  endfor
  " A build tells again all that is wrong with the saved file; a build of the course, all that is wrong.
  let IsOld = a:build.saved ==# '*'
        \ ? {old -> old.spec ==# a:build.spec}
        \ : {old -> old.saved ==# a:build.saved || old.entry.filename ==# a:build.saved}
  let told = map(copy(new), 'v:val.entry')
  call filter(s:found, {_, old -> !IsOld(old) && index(told, old.entry) < 0})
  call extend(s:found, new)
  call s:Show()
  if a:build.code > 1 && empty(new)
    let said = filter(a:build.out + a:build.err, 'v:val !=# ""')
    call s:Say(empty(said) ? 'ended with code ' . a:build.code : substitute(said[0], '^clm: ', '', ''))
  endif
  if exists('#User#ClmDone')
    doautocmd <nomodeline> User ClmDone
  endif
endfunction

function! s:Show() abort
  let entries = map(copy(s:found), 'v:val.entry')
  let has_list = s:list != 0 && getqflist({'id': s:list}).id == s:list
  if has_list
    call setqflist([], 'r', {'id': s:list, 'title': 'clm', 'items': entries})
  elseif empty(entries)
    return
  else
    call setqflist([], ' ', {'title': 'clm', 'items': entries})
    let s:list = getqflist({'id': 0}).id
  endif
  if g:clm_open && getqflist({'id': 0}).id == s:list
    let window = win_getid()
    botright cwindow
    call win_gotoid(window)
  endif
  redrawstatus!
endfunction

function! s:Saved(file) abort
  let file = s:Real(a:file)
  let spec = s:Spec(file)
  if spec !=# ''
    call s:Start(spec, file)
  endif
endfunction

function! s:Build() abort
  let spec = s:Spec(s:Real(expand('%') ==# '' ? getcwd() . '/.' : expand('%')))
  if spec ==# ''
    call s:Say('there is no `course.xml` above this file; set g:clm_spec')
    return
  endif
  call s:Start(spec, '*')
endfunction

function! s:Errors() abort
  if s:list == 0 || getqflist({'id': s:list}).id != s:list
    call s:Say('there are no errors')
    return
  endif
  execute 'silent' getqflist({'id': s:list, 'nr': 0}).nr . 'chistory'
  botright copen
endfunction

function! ClmStatus() abort
  if !empty(s:builds)
    return 'clm: building'
  endif
  let errors = len(filter(copy(s:found), 'v:val.entry.type ==# "E"'))
  let warnings = len(s:found) - errors
  return errors + warnings == 0 ? '' : printf('clm: %dE %dW', errors, warnings)
endfunction

command! ClmBuild call s:Build()
command! ClmErrors call s:Errors()

augroup clm
  autocmd!
  autocmd BufWritePost * if g:clm_on_save && &buftype ==# '' | call s:Saved(expand('<afile>')) | endif
augroup END
