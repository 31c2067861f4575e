/** Buttons, words and cards that lead somewhere, with the address's types. */
import { Anchor, type AnchorProps, Button, type ButtonProps, Card, type CardProps } from '@mantine/core';
import { createLink } from '@tanstack/react-router';
import type { AnchorHTMLAttributes, Ref } from 'react';
import classes from './link_button.module.css';

type OfAnchor<Own> = Own & Omit<AnchorHTMLAttributes<HTMLAnchorElement>, keyof Own> & { ref?: Ref<HTMLAnchorElement> };

export const LinkButton = createLink((props: OfAnchor<ButtonProps>) => <Button component="a" {...props} />);

export const LinkAnchor = createLink((props: OfAnchor<AnchorProps>) => <Anchor component="a" {...props} />);

export const LinkCard = createLink((props: OfAnchor<CardProps>) => (
  <Card component="a" className={classes.card} {...props} />
));
